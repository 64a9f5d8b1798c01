"""What trains on a published dataset. `convoforge/examples` is a link to this folder, so that the wheel has it too."""
