"""What was asked: prompts, images and the tree that they form."""
