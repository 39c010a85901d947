"""Is a model the same as another one, and where do they part?"""
