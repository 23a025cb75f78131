"""Operations, sizes, bits and codes."""
