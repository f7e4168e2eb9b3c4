CREATE TABLE null_logic (id BIGINT, a VARCHAR, b BIGINT) WITH (${sink});

INSERT INTO null_logic
SELECT P.id, COALESCE(A.itemName, 'none'), NULLIF(A.category, 10)
FROM person P LEFT JOIN auction A ON P.id = A.seller AND A.category < 12
WHERE NOT (A.category = 11) OR A.category IS NULL;
