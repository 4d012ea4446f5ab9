"""From a table to a problem: index, design, leaf statistics, data sets."""
