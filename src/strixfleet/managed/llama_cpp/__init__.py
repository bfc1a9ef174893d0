"""The llama.cpp build."""
