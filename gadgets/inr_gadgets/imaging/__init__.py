"""The image gadget: where an image lies, when it was acquired, what its header and attributes say."""
