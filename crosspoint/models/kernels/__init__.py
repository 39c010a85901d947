"""Kernels of a GPU's training step, in Triton, and the decision to use them.

They are compiled at first use, by Triton, which PyTorch's CUDA builds for Linux bring along. `choice` decides for each
tensor; `check` compares every kernel with its formula before that. Modules with kernels import triton, and are
themselves imported only where it is.
"""
