"""Pictures in, faces out: detection, the trained model under onnxruntime, drawing and files. Never imports torch."""
