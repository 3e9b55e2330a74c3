"""Programs that once showed a defect, kept so that it cannot come back."""
