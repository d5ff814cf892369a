"""A trained model in the forms that others run: half precision, ONNX, int8, pruned; and their bundle."""
