"""The web console: one page that shows what is, honestly, and says how old it is."""
