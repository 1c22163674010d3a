"""For all tests: no property is held to a time, since machines are shared; a bug of the zoo has only to be caught."""

import os

from hypothesis import Phase, settings

settings.register_profile("patient", deadline=None)
settings.register_profile("zoo", deadline=None, phases=(Phase.explicit, Phase.generate))
settings.load_profile(os.environ.get("ISLAND_HYPOTHESIS_PROFILE", "patient"))
