"""From a results file to numbers: tracking metrics, forecasting metrics, the official devkit."""
