def check_path(p): return []
def check_module(p): return []
