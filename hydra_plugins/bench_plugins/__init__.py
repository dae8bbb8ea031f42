"""What Hydra finds by itself: the sweeper that knows '...', the launcher that keeps models loaded, the search path."""
