"""ScanNet as it is downloaded: scans to scenes, and its colour pictures to videos."""
