"""Everything that needs Keras: the data set, callbacks, evaluation, and what a network is fed."""
