"""What is said to a request that is not obeyed."""


class RefusedError(Exception):
    """Why: what was expected, what came, what to do. `status` is that of an HTTP answer."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status
