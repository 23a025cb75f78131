"""The Triton kernels. Importing them needs Triton; ``TRITON_INTERPRET=1`` must be set before that."""
