"""Many servers as one supervised group."""
