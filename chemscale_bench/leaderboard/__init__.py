"""The leaderboard: entries, what makes them trustworthy, and the page that ranks them."""
