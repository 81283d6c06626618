"""How fast is it? An upstream, a load generator, a baseline, and the benchmark that joins them."""
