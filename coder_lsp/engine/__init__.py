"""Inference engines behind one contract, :class:`coder_lsp.engine.base.Engine`."""
