"""Who runs a problem and how: the protocol of backends, their registry, contenders, formulations."""
