"""What a region's runners keep of a target between attempts: approved plan files, and states; it must not send either anywhere."""
