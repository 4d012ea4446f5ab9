"""The compiled code: what LLVM code is written for the log densities, their gradients and exact draws."""
