"""A durability that there is not."""

import tidegate

engine = tidegate.Engine("release.db", durability="none")  # wrong: "none" -> "memory"
