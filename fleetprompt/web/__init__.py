"""Web: middleware, the theme of the admin sites, and what their pages share."""
