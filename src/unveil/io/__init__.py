"""Reading and writing of files: images, videos, landmark annotations, boxes and results."""
