"""Parts of one study that share no subject: hold-out, folds, and the files that keep them."""
