-- A function of the script that calls another one.
CREATE FUNCTION euros (price BIGINT) RETURNS DECIMAL(23, 3) RETURN 0.908 * price;
CREATE FUNCTION size_of (price BIGINT) RETURNS VARCHAR RETURN CASE WHEN euros(price) >= 1000 THEN 'large' ELSE 'small' END;
CREATE TABLE sql_function (auction BIGINT, euros DECIMAL(38, 6), size VARCHAR)
WITH (${sink});

INSERT INTO sql_function
SELECT auction, CAST(euros(price) AS DECIMAL(38, 6)), size_of(price) FROM bid;
