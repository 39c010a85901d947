"""Metrics: accuracy of a linear SVM, mIoU, confidence intervals."""
