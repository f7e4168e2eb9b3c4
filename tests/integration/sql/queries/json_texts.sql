-- Values within JSON texts, of which some are broken.
CREATE TABLE json_texts (auction BIGINT, a BIGINT, b VARCHAR, c VARCHAR, d BOOLEAN, e BOOLEAN, f VARCHAR)
WITH (${sink});

INSERT INTO json_texts
SELECT auction, CAST(JSON_VALUE(doc, '$.price') AS BIGINT), JSON_VALUE(doc, '$.who.ids[1]'), JSON_QUERY(doc, '$.who'),
    JSON_EXISTS(doc, '$.who.none'), IS_JSON(doc), JSON_VALUE(doc, '$.who')
FROM (SELECT auction, '{"price":' || CAST(price AS VARCHAR) || ',"who":{"ids":[' || CAST(bidder AS VARCHAR) || ',"'
    || channel || CASE WHEN MOD(price, 5) = 0 THEN '"]}' ELSE '"]}}' END AS doc FROM bid);
