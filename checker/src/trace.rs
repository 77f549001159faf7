//! A run of a model, step by step: how the search's paths become one, and how it is written down.
