"""Export of trained networks to ONNX, and quantization."""
