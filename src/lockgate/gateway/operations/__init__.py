"""Operations: their three state tables, their records and what is said about them."""
