"""What a trainer makes of a published version: whether it can be trained on, how long it is in tokens, and the files of other formats."""
