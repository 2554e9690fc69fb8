"""Hold messages of our own that are scored at packaging, and again wherever a package is loaded."""

from typing import Final

GOLDEN: Final = (
    "",
    "ok",
    "See you at eight, I'll bring the dessert",
    "Your appointment is on 14 March at 10:30. Reply C to confirm or call the front desk.",
    "482913 is your sign-in code. Never share it with anyone.",
    "Can you pick up milk and bread on the way home? Thanks x",
    "URGENT! You have been chosen for a £2000 prize. Call 09061234567 now to claim, 150p/min",
    "Congratulations, you won a free holiday! Text WIN to 80082 to claim today",
    "Your parcel is held. Pay the fee of 1.99 at http://post-redelivery.example/pay within 24 hours",
    "FREE entry: text CASH to 85000 and get 500 pounds every week, T&Cs apply, 18+",
    "Señor, la reunión es mañana a las nueve — ¿puedes venir?",
    "W\u200bi\u200bn c\u0430sh n\u043ew, r\u0435ply Y\u0415S \U0001f4b0\U0001f4b0",
)
