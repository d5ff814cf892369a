"""What a trained model is worth: metrics, their noise floors and their uncertainty.

Every metric compares a cloud of samples with a held-out split of the data and is shown with two
yardsticks: the same metric between real items and that split (the floor, from `reference`), and a
95 % bootstrap interval (`uncertainty`). `names` lists the metrics without importing torch, `points`,
`rolls` and `images` compute them, `reference` prepares what they are held against, and `run` does
the whole evaluation of one model.
"""
