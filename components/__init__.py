"""What each step of the pipeline does, one module or small package a step."""
