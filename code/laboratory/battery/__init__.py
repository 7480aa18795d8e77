"""Bad inputs by the thousand, over all commands and formats: does each end in one clear line?"""
