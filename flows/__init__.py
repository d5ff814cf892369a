"""The lifecycle around the science: data stages, grid, tracking, registry, deployments.

This package is the only one that knows DVC, Prefect and MLflow. It is thin: what a result is, and
whether it is finished, is decided by `sgm_core` and its content-addressed store.
"""
