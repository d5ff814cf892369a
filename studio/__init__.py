"""The studio: published models in the browser (`web`, built into `static`) and served."""
