"""Every op of torch's families in device code, each beside what torch makes of it."""
