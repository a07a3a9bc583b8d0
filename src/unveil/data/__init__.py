"""Training data: data sets, packs, augmentation, occluders and scenes for the detector."""
