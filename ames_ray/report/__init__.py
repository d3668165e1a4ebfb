"""What people look at: contact sheets of pictures and their features."""
