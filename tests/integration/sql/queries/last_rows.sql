-- The newest auction of each seller.
CREATE TABLE last_rows (seller BIGINT, id BIGINT, category BIGINT) WITH (${sink});

INSERT INTO last_rows
SELECT seller, id, category FROM (
    SELECT seller, id, category, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY id DESC) AS n FROM auction)
WHERE n = 1;
