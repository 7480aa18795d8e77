"""The network: image branch, detection heads, tracker with past and future reasoning."""
