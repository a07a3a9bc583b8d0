"""Inference with onnxruntime: detection, landmarks, tracking, restoration and drawing.

Only `unveil.inference.torch_restorer` imports torch.
"""
