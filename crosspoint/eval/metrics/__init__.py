"""What is measured: accuracy of a linear SVM, mIoU, intervals."""
