"""Reviews: what people decide on conversations, what they are asked to look at, how far they agree, and other tools' files."""
