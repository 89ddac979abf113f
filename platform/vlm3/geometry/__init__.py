"""Pure geometry on arrays: rigid transforms, cameras, depth kinds, covisibility."""
