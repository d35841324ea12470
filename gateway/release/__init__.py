"""What is let out: grants, visas, the handing-over of data and samples."""
