SELECT state FROM nodes WHERE epoch = $1 FOR SHARE
